"""Documents whose bytes are not their text: PDF, Word, PowerPoint, e-mail, CSV.  Read in processes of their own."""
