"""What a model takes in: the form of one example, and pictures turned into it.

A room of its own, on numpy, Pillow and simplejpeg alone: an app's page needs it for every visitor, and the dataset
store never.
"""
