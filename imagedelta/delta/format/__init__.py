"""What a patch is made of: head, streams, items, tar headers as columns, numbers; both sides read it the same way."""
