"""Clips: films painted so that they do not flicker.

A clip is cut into shots. The first frame of a shot is painted as any picture; each
frame after it starts from the last painted one, carried along the motion, and a
temporal term holds it there.
"""
