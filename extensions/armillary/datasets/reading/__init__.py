"""Reading a version: batches for training, tables for pandas and Dask.

===================== ==========================================================================================
`order`               which example comes when: row groups in a seeded order, mixed through a buffer
`row_groups`          where the row groups of a version lie, and the rows of one of them
`prefetch`            groups read and pictures decoded by threads, ahead of the step that needs them
`decoding`            one stored picture into its place in a batch
`readers`             `to_torch`, `to_tensorflow` and the batches they give
`frames`              `to_pandas`, `to_dask`
===================== ==========================================================================================
"""
