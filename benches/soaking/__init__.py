"""The programs and the judgement of the soak; `benches/soak.py` starts them."""
