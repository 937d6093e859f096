"""What people and programs are told of a set: which kinds there are, how each is worded, and how it goes out.

``kinds`` says when something is true and what there is to do; ``story`` puts the facts together once; ``text``,
``html`` and ``event`` word the story for a mail and for a program; ``channels`` are the ways out; ``send`` takes what
is due through all of it.
"""
