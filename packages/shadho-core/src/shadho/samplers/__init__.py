"""Samplers: the next point in a given tree."""

from shadho.samplers.base import CountingSampler, Sampler, SamplerContext, Suggestion

__all__ = ['CountingSampler', 'Sampler', 'SamplerContext', 'Suggestion']
