"""The scoring service: loads model versions and answers `/invocations` with them."""
