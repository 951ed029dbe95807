"""Networks: plain ``paddle.nn.Layer``s; tensors in, logits out. No loss, no decoding, no files."""
