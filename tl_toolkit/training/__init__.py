"""Networks trained end to end in Keras: from pixels to probabilities, with every layer that is not frozen."""
