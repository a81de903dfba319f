"""Evaluation text in a corpus: found by runs of words, cut out by GPT-3's rules, and the question turned round."""
