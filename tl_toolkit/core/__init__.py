"""What every room may use: records, registry, run folders, errors and the console.

Nothing here imports TensorFlow, Optuna or another room.
"""
