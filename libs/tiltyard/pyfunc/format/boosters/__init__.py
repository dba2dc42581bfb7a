"""The files of boosted trees, checked before the libraries that wrote them read them."""
