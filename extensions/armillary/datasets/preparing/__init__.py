"""Preparing a version: a recipe of named steps, run over the row groups by threads or on the user's Dask cluster.

===================== ==========================================================================================
`recipe`              the steps in order, shown, stored and replayed
`rows`                values on their way, decoded
`step`                what every step is, and what it may change
`picture_steps`       resize, crop, grey, normalise, file format
`table_steps`         impute, scale, encode
`text_steps`          tokenise, pad, back-off words
`media_steps`         resample, spectrogram, sampled frames
`own_steps`           filter, and functions of one's own
`own_code`            what code such a function comes to
`augmenting`          flip, rotate, shear, zoom, colour, noise, mixup, SpecAugment
`steps`               all of them, under one name
`learning`            what steps learn from the training examples, before anything is prepared
`pipeline`            the rows of one row group, step by step
`units`               one unit of work: some row groups become one shard
`crew`                who does the units: threads here, or the workers of a cluster
`workshop`            the hidden folder where finished units wait, so that a killed run goes on
`made`                finished units on their way into a version
`travel`              the form of the input, with the steps that an app does with it
`preparing`           `prepare`
`trying`              a recipe tried on some examples, nothing saved
`recipe_view`         the panel's piece: the list of steps, trying, progress and cancel
`step_form`           the form of one step
`trial_table`         examples before and after
===================== ==========================================================================================
"""
