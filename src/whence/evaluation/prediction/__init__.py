"""Do scores predict what retrained models of a bank do?"""
