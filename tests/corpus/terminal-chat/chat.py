"""A chatbot at the terminal."""


def answer(question: str) -> str:
    return "I do not know."


def main():
    print("Ask me anything, or 'quit'.")
    while True:
        question = input("You: ")
        if question == "quit":
            break
        print("Bot:", answer(question))


if __name__ == "__main__":
    main()
