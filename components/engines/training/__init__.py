"""Training of Keras 3 models on transformed examples, at the speed of one compiled loop.

The parts, each of use alone:

- :mod:`.packing`: `pack(table, label=…, weight=…)` turns an Arrow table of transformed examples
  into `PackedExamples` (numpy blocks; sequences unpadded, tokens end to end). :mod:`.streaming`:
  `open_examples(file, label=…)` does so from Parquet, and streams what is too large for memory.
- :mod:`.fit`: `build(builder, seed)` makes a seeded model; `fit(model, train, validation,
  Recipe(…), scratch=…, report=…)` trains it, keeps the best weights and survives a kill;
  `predict(model, examples)` answers in the label's shape, steps end to end.
- :mod:`.features`: what a model builder is given, and the builder's contract.
- :mod:`.export`: `export_saved_model(…)` puts transform graph and model into one SavedModel over
  raw columns (:mod:`.signature`); :mod:`.served`: `ServedModel(folder)(table)` asks it in bulk.
- :mod:`.scores`: exact `area_under_curve` and `log_loss`. :mod:`.warm_start`, :mod:`.digest`.
- :mod:`.loop`, :mod:`.batches`, :mod:`.checkpoint`: the epoch as one TensorFlow function, the rows
  of each batch, the file that a killed training goes on from.

What a model must be: a Keras 3 model (functional, Sequential) whose inputs are *named after
transformed columns* and whose output is a probability (sigmoid). Shapes by batch:

==================================  =======================  ==============================
transformed column                  the model's input        the model's output
==================================  =======================  ==============================
one value a row                     `Input((1,))`            `[batch, 1]` or `[batch]`
k values a row (fixed-size list)    `Input((k,))`
a sequence (list)                   `Input((None,))` or      `[batch, time, 1]` or
                                    `Input((None, 1))`       `[batch, time]` (list label)
==================================  =======================  ==============================

Sequences are padded at their end, with zeros in features, to the longest row of the batch; rows of
about equal length share a batch. A label below zero (a padded step, an unknown answer) adds nothing
to the loss, so no mask layer is needed when the network only looks back. Optimizer and loss are
those the model was compiled with, else Adam by the `Recipe` and binary cross-entropy.

Example:
    ```python
    def build_model() -> keras.Model:
        clicks, score = keras.Input((1,), name="clicks"), keras.Input((1,), name="score")
        hidden = keras.layers.Dense(64, "relu")(keras.layers.Concatenate()([clicks, score]))
        return keras.Model([clicks, score], keras.layers.Dense(1, "sigmoid")(hidden))


    train = pack(examples.table("train"), label="failed")
    validation = pack(examples.table("validation"), label="failed")
    model = build(build_model, seed=1)
    outcome = fit(model, train, validation, Recipe(epochs=40, batch_size=256))
    ```
"""
