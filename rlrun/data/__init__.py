"""The path of the data: from environments to fragments, episodes and minibatches."""
