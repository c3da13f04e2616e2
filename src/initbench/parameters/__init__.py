"""Parameters of any nn.Module made visible: look them up, list them, initialize, tie and untie them, see each use.

`naming` says what is stored under which names, `table` lists it, `filling` initializes it, `ties` shares it, `uses`
observes a forward pass. Initbench's own nets are plain modules too: `initbench.build` makes one.
"""

from initbench.parameters.filling import initialize_
from initbench.parameters.naming import parameter
from initbench.parameters.table import constant_table, parameter_table
from initbench.parameters.ties import share_, untie_
from initbench.parameters.uses import count_uses, use_gradients
