"""What speed costs and brings: the networks as they ship against plain transcriptions of their equations, and large
ones on a GPU."""
