"""An index of training examples: those of the largest scores for a new picture are found without scoring all of them.

INDEX/manifest.json          of which model, data, features, method and settings
      examples.parquet       ids, and a check sum of the vector of each
      whitening.safetensors  the map from features to vectors whose inner products are scores
      vectors/00000.safetensors ...  the vectors u_n of all examples, float32, mapped from disk
      candidates.faiss       a FAISS index of their first columns, for an approximate search
      search.json            how it is searched, and which recall that has
"""
