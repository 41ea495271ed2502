"""The daemon of each node: collect what is true of the maps, publish it, again and again."""
