"""Values of JSON and CSV, made into typed arrays without changing what they say."""
