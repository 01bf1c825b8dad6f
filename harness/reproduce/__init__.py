"""The whole paper from one command: what is there, what it will cost, the sweeps, and what is made from them."""
