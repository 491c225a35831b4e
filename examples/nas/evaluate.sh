#!/usr/bin/env bash

# Load any environment that the objective needs here.
python3 train_cnn.py
