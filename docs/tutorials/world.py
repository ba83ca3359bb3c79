# %% [markdown]
# # A world model that plans
#
# An agent moves in two rooms joined by a door. It learns from frames and actions alone what its
# actions do, and then reaches places that it is shown as pictures. Everything here is small, so
# that it takes two minutes on a processor; `isojepa world demo` is the same at a size that
# reaches [nearly every goal](../explanation/world-models.md).
#
# ## Episodes
#
# A noisy scripted policy walks about; frames and actions are kept, rewards are not needed.

# %% language="bash"
# isojepa world collect --env swm/TwoRoom-v1 --episodes 60 --out two-room.h5

# %% [markdown]
# ## Training
#
# Two loss terms: the embedding one block of five steps ahead is predicted from this one and the
# actions, and SIGReg keeps the embeddings a Gaussian. Some episodes are held out.

# %% language="bash"
# isojepa world train --data two-room.h5 --out run --steps 300 --no-tensorboard

# %% [markdown]
# ## Reaching goals
#
# Start and goal come from held-out episodes, 50 steps apart, none solved at the start; there are
# 100 steps to get there. The planner imagines candidate actions in the model's embeddings and
# executes the best, replanning every five steps. Random actions, a straight line towards the goal
# and the scripted policy play the same pairs.

# %% language="bash"
# isojepa world plan --run run --pairs 40 --offset 50 --budget 100

# %% [markdown]
# The agent on the left plans towards the picture on the right:

# %%
from IPython.display import Image

Image("run/control.gif")

# %% [markdown]
# Next: [each step and its settings](../howto/world.md), [your own episodes or
# environment](../howto/episodes.md), [planning from Python](../howto/planning.md), and [what
# limits control](../explanation/control-limits.md).
