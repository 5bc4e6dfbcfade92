"""Attribution: methods that estimate influence by gradients, and the way from a request to scores."""
