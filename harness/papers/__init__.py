"""The paper: what it published, whether the store agrees, and what arithmetic alone says of it. No torch."""
