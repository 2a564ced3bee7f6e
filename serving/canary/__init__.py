"""The canary's guard: compares it with the stable version while both answer, and stops harm.

It may look as often as it likes. Each look adds to a *test martingale*: a number that starts at 1
and that, while the canary is harmless, is expected to stay there whatever was seen before. By
Ville's inequality it ever reaches ``1 / alpha`` with a probability of at most ``alpha``, over all
looks together, so that looking often costs nothing (Ramdas, Grünwald, Vovk & Shafer: Game-theoretic
statistics and safe anytime-valid inference, Statistical Science 38(4), 2023).

The statistic is one and the same for errors, slow answers and scores (:mod:`serving.canary.odds`);
which requests are slow, and which scores high, is read off the stable version before the comparison
begins (:mod:`serving.canary.comparison`).
"""
