// Formulas in the names that an expression gives to its values, in place of the rule's own symbols.

const NAME = /^\p{L}[\p{L}\p{Nd}_]{0,7}$/u;
const WORD = /\p{L}[\p{L}\p{Nd}_]*/gu;
const LEFT = /^\p{L}(?= = )/u; // what a rule calls its result: y, of matrices Y

/**
 * c = x·b for a rule's y = a·b, where c, x and b are what the expression calls them. In the rule's symbols the a there
 * would be another a than the expression's. Where something has no such name, or appears twice, the symbols stay.
 * @param {import("../graph_data.js").Structure} structure
 * @param {number} place of the operation
 * @returns {{isNamed: boolean, output: string, write: (formula: string) => string}}
 */
export function formulas(structure, place) {
  const operation = structure.operations[place];
  const used = structure.edges.filter((edge) => edge.operation === place);
  const [result] = LEFT.exec(operation.formula) ?? ["y"];
  const pairs = [...operation.outputs.map((name) => [result, name]), ...used.map((edge) => [edge.symbol, edge.value])];
  const isNamed =
    pairs.every(([symbol, name]) => symbol && NAME.test(name)) &&
    new Set(pairs.map(([symbol]) => symbol)).size === pairs.length &&
    new Set(pairs.map(([, name]) => name)).size === pairs.length;
  if (!isNamed) return { isNamed, output: result, write: (formula) => formula };
  const names = new Map(pairs);
  const write = (formula) => formula.replace(WORD, (word) => names.get(word) ?? word);
  return { isNamed, output: names.get(result), write };
}
