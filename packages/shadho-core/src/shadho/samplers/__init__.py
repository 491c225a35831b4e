"""Samplers: the next point in a given tree."""

from shadho.samplers.base import CountingSampler, Offer, Sampler, SamplerContext, Suggestion

__all__ = ['CountingSampler', 'Offer', 'Sampler', 'SamplerContext', 'Suggestion']
