package main

// Two age keys for tests and nothing else.
const (
	testIdentity   = "AGE-SECRET-KEY-16M0N0NX0LR7053SNXLXA8HFME07Q7P4SFKZ7WRYV6Z0H640PN76SS5P37M"
	testRecipient  = "age1cv92ayum8a9242xal4d7rtzns9s4gfzh3jrx64khjvk5tv06n3psx9ld33"
	otherIdentity  = "AGE-SECRET-KEY-1484GCGTSZ5HUXU8DWJQVSTMPCSQ9XRF8PXFAQMASXNMXGUC60ZJQ66MNJL"
	otherRecipient = "age1waczvytuxaxlc32s0vpskq8zakrp58zek5xfqz9t3s9wpce3raqqclp63w"
)
