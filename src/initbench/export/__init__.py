"""python -m initbench.export: a study for other tools: TensorBoard, Weights & Biases, or plain CSV files."""
