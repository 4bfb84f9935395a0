"""Turn published price data into proposed tables; they read and write files, and nothing else."""
