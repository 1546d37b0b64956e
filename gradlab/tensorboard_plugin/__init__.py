"""The Gradlab tab of TensorBoard. Nothing is imported here: TensorBoard imports this package at every start."""
