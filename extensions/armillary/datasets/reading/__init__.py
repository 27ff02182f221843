"""Reading a version: batches for training, tables for pandas and Dask.

===================== ==========================================================================================
`order`               which example comes when: row groups in a seeded order, mixed through a buffer
`row_groups`          where the row groups of a version lie, and the rows of one of them
`prefetch`            groups read and examples decoded by threads, ahead of the step that needs them
`pictures`            batches of the pictures that models take
`batch_memory`        memory for batches that is used again
`decoding`            one stored picture into its place in a batch
`column_batches`      batches of columns of any kind
`columns`             how the values of each kind of feature become a part of a batch
`padding`             arrays of several lengths in one, with a mask
`readers`             `to_torch`, `to_tensorflow` and the batches they give
`frames`              `to_pandas`, `to_dask`
===================== ==========================================================================================
"""
