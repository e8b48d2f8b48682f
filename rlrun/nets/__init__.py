"""Networks: torsos chosen by name, heads, normalisers, policies, and the one place of gradients."""
