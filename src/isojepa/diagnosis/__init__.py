"""A file of embeddings -> is it an isotropic Gaussian, and if not, how does it fail?"""
