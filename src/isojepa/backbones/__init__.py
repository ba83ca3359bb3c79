"""A network's name -> a module of timm's, or one made for CPUs."""
