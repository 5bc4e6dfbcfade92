"""What scores rank first: the measures of the papers that proposed the methods."""
