"""What is not Turn's: HTTP as such."""
