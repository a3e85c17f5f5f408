"""The networks. They know tensors only: no files of a data set, no running state of a track."""
