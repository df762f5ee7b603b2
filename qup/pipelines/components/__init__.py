"""The road's steps as components: cached, resumed and traced.

Each puts one pure function between artifacts; `Trainer.fn` and its like are
plain functions. The pipeline that joins them is qup/pipelines/ifa.py.

Nothing is imported here: what a component imports enters the fingerprint of
its results, and its package would bring in all the others.
"""
