"""Tests of ``vumi_turn.conversation``."""
