#!/usr/bin/env bash

# Load any environment to run the objective.
python3 objective.py
