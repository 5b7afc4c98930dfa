"""The report: written from the saved records of a run, without TensorFlow and without the photos."""
