//! Flat-parameter networks, ensembles, Adam and Polyak averaging as candle operations.
