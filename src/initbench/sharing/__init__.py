"""Parameter sharing as data: a scheme is a map from layers to stored tensors, never object identity.

A `Scheme` says which tensors are stored (each with the layers that use it) and how a layer's weight comes from them: a
look-up, or a small differentiable formula. Schemes act on the L = depth - 1 hidden-to-hidden layers, l counted from the
first of them (layer 1 of the net); input and output layers are shared only by `transposed` or where `sharing.groups`
names them.
"""

from initbench.sharing.build import BUILDERS, builder, label, scheme
from initbench.sharing.groups import NEEDS_SLOTS, RULES
from initbench.sharing.parts import Parts, main_slots
from initbench.sharing.scheme import Draw, Formula, Scheme, Slot, slot_of_layer
