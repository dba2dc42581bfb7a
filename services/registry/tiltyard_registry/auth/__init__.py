"""Who a request comes from: providers turn its headers into a `Principal`."""
