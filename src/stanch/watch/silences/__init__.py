"""What is done while a question has no answer: other witnesses are asked."""
