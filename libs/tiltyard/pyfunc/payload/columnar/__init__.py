"""Arrow and Parquet, judged by what they stand for before any of it is built."""
