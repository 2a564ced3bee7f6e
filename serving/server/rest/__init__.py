"""TensorFlow Serving's REST API on a raw asyncio protocol.

From the bytes inwards: :mod:`connection` frames requests, :mod:`heads` and :mod:`chunks` read
them, :mod:`routes` says what is asked, :mod:`api` hands it on, :mod:`predictions` answers, alone or
in a crowd, :mod:`answering` runs and sends, with :mod:`rows` for ordinary JSON at
full speed and :mod:`json_tensors` for everything that JSON may hold, down to TensorFlow Serving's
sentences.
"""
